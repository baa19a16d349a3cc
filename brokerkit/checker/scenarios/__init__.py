"""The journeys: what is asked of a broker, in which order."""
