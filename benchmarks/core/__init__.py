"""pytest-benchmark files for the classes of flow_core.core: `pytest benchmarks/core`."""
