"""An inference engine for a pool: vLLM, in the environment that has it, with the flags of the pools' file."""
