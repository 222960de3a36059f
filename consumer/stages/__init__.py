"""The stages: the only places that join events, profiles, kafka and target."""
