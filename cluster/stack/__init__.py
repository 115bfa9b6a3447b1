"""The local stack: real Kafka, registry, PostgreSQL, Redis, Keycloak and Ray as plain processes of this user."""
