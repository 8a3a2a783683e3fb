from services.memory.app import build
from services.memory.settings import MemorySettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = MemorySettings()
    build(settings, Wiring(settings)).run()
