"""Count downloads from the logs of requests: by day, file and client, without addresses and user names."""
