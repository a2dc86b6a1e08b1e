# Used from C only.
