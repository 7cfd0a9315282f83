"""What runs inside an inference service: it samples first, and touches features only of what it keeps.

Nothing here loads numpy, pandas or pyarrow, blocks the caller or raises into it.
"""
