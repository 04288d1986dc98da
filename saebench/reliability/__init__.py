"""The benchmark of the benchmark: do scores repeat, and know what is planted?"""
