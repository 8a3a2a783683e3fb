from services.executor.app import build
from services.executor.settings import ExecutorSettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = ExecutorSettings()
    build(settings, Wiring(settings)).run()
