from services.rag_agent.app import build
from services.rag_agent.settings import RagAgentSettings
from tandem.wiring import Wiring

if __name__ == "__main__":
    settings = RagAgentSettings()
    build(settings, Wiring(settings)).run()
