from services.function_agent.app import build
from services.function_agent.settings import FunctionAgentSettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = FunctionAgentSettings()
    build(settings, Wiring(settings)).run()
