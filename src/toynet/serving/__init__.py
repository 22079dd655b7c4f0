"""A local web page of runs, studies and models: `toynet serve`."""
