"""`ctxguard demo`: the licences of the installed software, asked about plain and guarded."""
