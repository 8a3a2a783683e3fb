from services.llm_gateway.app import build
from services.llm_gateway.settings import LlmGatewaySettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = LlmGatewaySettings()
    build(settings, Wiring(settings)).run()
