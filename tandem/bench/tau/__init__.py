"""τ³ (retail, airline): customers with a brief, a policy, tools over a database; what counts is the database in the end."""
