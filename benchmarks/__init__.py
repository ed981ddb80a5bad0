"""How fast the service is.

``python -m benchmarks`` compares the receiving with peers in one run; the modules, in reading order:

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

``python -m benchmarks.sending`` prepares letters; ``python -m benchmarks.relaying`` tells Bloomreach about
events, also while others are received.  ``python -m benchmarks.asking`` asks about rejections,
``python -m benchmarks.analysts`` about events, customers and campaigns:

questions    take turns; the table of how long they took
inquiries    what analysts ask
exporting    an export against a bare cursor
agreement    the same figures by command line, HTTP, SQL and from the events
service      the application within this process
year         what happens in a year of letters
rows         the rows that this leaves
history      all of them in a database
bulk         very many rows
"""
