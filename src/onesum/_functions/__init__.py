"""The public functions: docstring, the plain case, the checks, the backend, and the way back."""
