"""The gateway: takes the events of one bridge and fans them out as JSON to many browsers, slow ones included."""
