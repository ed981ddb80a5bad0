"""How fast the service is, as ratios to its peers in one run: ``python -m benchmarks``.

The modules, in reading order:

cases        the promises and how each is judged
run          the turns: who is measured with what, in which order
traffic      the callbacks that are sent
load         the load generator, a process of its own
contestants  the service and its peers
processes    a server, and the load generator, on cores of their own
databases    fresh databases for them
stored       a database that already holds millions of events
report       the table
peers        what the service is compared with
"""
