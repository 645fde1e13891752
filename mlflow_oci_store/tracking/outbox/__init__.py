"""The durable outbox: what a program has logged and the service has not confirmed yet.

    accept ──> journal ──> seal ──> send ──> acknowledge
      (the caller)      (a worker: ledger, client, ledger)

``outbox`` takes what is logged and says when it has arrived; ``journal`` and ``ledger`` keep it on
disk; ``sealing`` makes requests of it; ``delivery`` sends them and judges the answers.
"""
