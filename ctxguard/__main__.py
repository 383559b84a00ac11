"""`python -m ctxguard` is the command `ctxguard`."""

from ctxguard.cli import main

raise SystemExit(main())
