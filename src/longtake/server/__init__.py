"""The Videos API: an HTTP server over one durable table, with workers that take their jobs from it.

A request's life: `app` checks the key and the size -> `forms` reads the body in any spelling -> `media` looks at what
was uploaded in a limited process -> `jobs.create` commits it -> a `worker` process claims it, makes the film and puts
it into `files` -> `queue.finish` commits "completed" -> `webhooks` tells who asked to be told.
"""
