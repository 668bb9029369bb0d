"""engineroom: one LLM inference worker for any engine.

Importing this package loads nothing but itself: no engine library, no door, no third-party module.
"""

__version__ = "0.1.0"
