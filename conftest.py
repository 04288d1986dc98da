pytest_plugins = ["saebench.plugin"]
