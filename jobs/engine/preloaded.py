"""What the processes of tasks import, imported once by the server that they are forked from."""

from importlib import import_module

from jobs.engine.processes import importing

with importing():
    import_module("pyspark.cloudpickle")
    import_module("jobs.night")
