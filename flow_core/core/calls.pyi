# Nothing of this module is for Python: the driver uses it from C.
