"""The service."""

import os

# gRPC reads it when it is imported. Its own lines on stderr are in no form of a log, and anyone who
# connects can make it write some. What a caller needs to know is in the status of the call.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
