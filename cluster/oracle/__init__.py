"""The second opinion: the contract of verdicts once more, slow and obvious, and a comparison of the ledger with it.

Nothing here imports the engine (`actors`): shared code could share a mistake.
"""
