"""rag_agent: grounded answers from a pack's knowledge, with citations."""
