"""The small-model rung: which procedure, which step next, which parameters.

Trained from recorded dialogues, run with numpy."""
