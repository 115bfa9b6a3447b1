"""The engine: partition readers, matcher shards and writers, as plain classes around a pure core."""
