"""The suite's gRPC services and the kernel they share."""
