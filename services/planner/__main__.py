from services.planner.app import build
from services.planner.settings import PlannerSettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = PlannerSettings()
    build(settings, Wiring(settings)).run()
