"""What a broker remembers: the rules it goes by, the store that keeps it, and its background work.

Nothing here is loaded by a broker without a store.
"""
