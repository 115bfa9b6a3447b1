"""The ports' real sides: Kafka, the schema registry, PostgreSQL, Redis."""
