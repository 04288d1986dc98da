"""One run: services that make evidence when it is asked for, and the recorder."""
