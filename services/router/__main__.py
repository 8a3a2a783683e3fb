from services.router.app import build
from services.router.settings import RouterSettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = RouterSettings()
    build(settings, Wiring(settings)).run()
