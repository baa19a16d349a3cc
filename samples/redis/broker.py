"""A service broker that gives tenants separate parts of a Redis server. README.md describes how to run it.

This module maps broker requests to calls of tenants.py, which contains all work in Redis. Web processes
serve `app`. Workers load `celery_app` and run the handlers marked `background=True`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from celery import Celery
from flask import Flask
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

import brokerkit as osb
from brokerkit.celery import CeleryExecutor
from credentials import credentials_for
from names import prefix_of, user_of, users_of
from settings import Settings
from tenants import Tenants

settings = Settings.from_env()
tenants = Tenants(
    Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        encoding_errors="surrogateescape",  # keys may hold any bytes
        socket_connect_timeout=5,
        socket_timeout=30,
    )
)

celery_app: Celery = Celery("redis-broker", broker=settings.queue_url)
celery_app.conf.update(
    task_default_queue="redis-broker",
    worker_prefetch_multiplier=1,  # waiting tasks go to the next free worker
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    broker_transport_options={"socket_connect_timeout": 5, "socket_timeout": 30},
)

broker = osb.Broker(
    osb.Catalog.from_file(Path(__file__).with_name("catalog.yml")),
    auth=osb.BasicAuth.from_env(),
    store=settings.store,
    encryption_keys=settings.keys,
    executor=CeleryExecutor(celery_app, name="redis-broker"),
)


@broker.provision
def provision(request: osb.ProvisionRequest) -> osb.Provisioned:
    """Return the prefix. Redis needs no preparation: keys create the prefix when they are written."""
    return osb.Provisioned(data={"prefix": prefix_of(request.instance_id)})


@broker.provision(plan="filled", background=True)
def fill(request: osb.ProvisionRequest) -> Generator[str, None, osb.Provisioned]:
    entries = request.parameters.get("entries", 1000)
    with retry_until_redis_is_up():
        for written in tenants.fill(prefix_of(request.instance_id), entries):
            yield f"Wrote {written} of {entries} entries"
    return provision(request)


@broker.update
def update(request: osb.UpdateRequest) -> None:
    """Upgrade an instance: apply the current tenants.RULES to its users."""
    tenants.restore_users(
        prefix_of(request.instance_id),
        {
            binding.result.credentials["username"]: binding.result.credentials["password"]
            for binding in request.instance.bindings
            if binding.result is not None and binding.result.credentials is not None
        },
    )


@broker.deprovision(background=True)
def deprovision(request: osb.DeprovisionRequest) -> Generator[str, None, None]:
    yield "Removing the users"
    with retry_until_redis_is_up():
        tenants.remove_users(tenants.users(users_of(request.instance_id)))
        reported_at = monotonic()
        for deleted in tenants.delete_keys(prefix_of(request.instance_id)):
            if monotonic() > reported_at + 1:
                yield f"Deleted {deleted} keys"
                reported_at = monotonic()


@broker.bind
def bind(request: osb.BindRequest) -> osb.Binding:
    """Create a user. A successor (`request.predecessor`) is a normal user that shares the same data."""
    prefix, user = prefix_of(request.instance_id), user_of(request.instance_id, request.binding_id)
    password = tenants.add_user(prefix, user)
    address = settings.address
    return osb.Binding(
        credentials=credentials_for(address, prefix, user, password),
        endpoints=[osb.Endpoint(host=address.host, ports=[str(address.port)])],
    )


@broker.unbind
def unbind(request: osb.UnbindRequest) -> None:
    tenants.remove_users([user_of(request.instance_id, request.binding_id)])


@contextmanager
def retry_until_redis_is_up() -> Iterator[None]:
    """Retry the operation later if Redis is unavailable."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError) as error:
        raise osb.Retry(after=5, description="Waiting for Redis") from error


app = Flask(__name__)
app.register_blueprint(broker.blueprint)
app.register_blueprint(broker.health)  # health checks for load balancers
