"""`tandem bench rag`: sections, pages, answers and API operations found for questions that people wrote elsewhere."""
