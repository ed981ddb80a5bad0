"""The two-way gateway between Bloomreach Engagement and Optilyz direct mail.

The rooms, in reading order; imports go one way, from the bottom of this list to the top:

settings    everything an operator can set
telemetry   every metric and log event, by name
domain      what things are and what we decide: pure, without I/O, clock or setting
store       what we keep: the only room with SQL
inbound     callbacks come in: read, decide, write, for HTTP and for replay
outbound    letters go out: made, checked, put on disk, asked for, settled
simulator   a stand-in for Optilyz, for tests, the demo and people
web         what HTTP looks like
console     pages for people; it asks the API of web
app         create_app(settings): the composition root
cli         the commands
"""
