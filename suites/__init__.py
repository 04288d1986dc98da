"""The suites: `pytest suites/ --sae NAME`, or from an installed package `pytest --pyargs saebench.suites`."""
