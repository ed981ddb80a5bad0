"""The console: pages for people, made on the server, that work without JavaScript.

It asks what anybody may ask of our own API, in the name of the key that signed in, and shows the answers:
no statement and no rule of its own.

sessions    who has signed in, and that a form is one of ours
asking      the API, asked in the process
rendering   templates, and how numbers, times and charts look
charts      drawings as SVG
routes      every page
"""
