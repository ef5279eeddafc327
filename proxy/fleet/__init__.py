"""What replicas of the proxy share through Redis or Valkey."""
