# Nothing of this module is for Python: the scheduler uses it from C.
