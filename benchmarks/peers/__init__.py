"""The systems that ctxguard is measured beside; each module needs what it names, and no more."""
