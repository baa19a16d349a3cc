"""A broker of pretend databases: a small one is there at once, a large one after two polls."""

from flask import Flask

import brokerkit as osb

broker = osb.Broker(osb.Catalog.from_file("catalog.yml"), auth=osb.BasicAuth("platform", "s3cret"))
databases: dict[str, osb.InstanceDetails] = {}
to_do: dict[str, list[str]] = {}
bindings: set[tuple[str, str]] = set()


@broker.provision
def provision(request: osb.ProvisionRequest) -> osb.Provisioned:
    wanted = osb.InstanceDetails(plan_id=request.plan.id, parameters=request.parameters)
    if databases.setdefault(request.instance_id, wanted) != wanted:
        raise osb.InstanceAlreadyExists
    return osb.Provisioned(exists=databases[request.instance_id] is not wanted)


@broker.provision(plan="large")
def provision_large(request: osb.ProvisionRequest) -> osb.Provisioned | osb.Accepted:
    if not request.accepts_incomplete:
        raise osb.AsyncRequired
    provisioned = provision(request)
    steps = to_do.setdefault(request.instance_id, ["Starting the server", "Making a volume"])
    return osb.Accepted() if steps else provisioned


@broker.last_operation
def last_operation(request: osb.LastOperationRequest) -> osb.LastOperation:
    if request.instance_id not in databases:
        raise osb.InstanceDoesNotExist
    steps = to_do.get(request.instance_id)
    return osb.LastOperation.in_progress(steps.pop()) if steps else osb.LastOperation.succeeded()


@broker.get_instance
def get_instance(request: osb.InstanceRequest) -> osb.InstanceDetails:
    if request.instance_id not in databases or to_do.get(request.instance_id):
        raise osb.InstanceDoesNotExist
    return databases[request.instance_id]


@broker.update
def update(request: osb.UpdateRequest) -> None:
    known = get_instance(request)
    plan_id = request.plan.id if request.plan else known.plan_id
    parameters = request.parameters or known.parameters
    databases[request.instance_id] = osb.InstanceDetails(plan_id=plan_id, parameters=parameters)


@broker.deprovision
def deprovision(request: osb.DeprovisionRequest) -> None:
    if not databases.pop(request.instance_id, None):
        raise osb.InstanceDoesNotExist
    to_do.pop(request.instance_id, None)
    bindings.difference_update([each for each in bindings if each[0] == request.instance_id])


@broker.bind
def bind(request: osb.BindRequest) -> osb.Binding:
    get_instance(request)
    exists = (request.instance_id, request.binding_id) in bindings
    bindings.add((request.instance_id, request.binding_id))
    return osb.Binding(credentials={"user": request.binding_id}, exists=exists)


@broker.get_binding
def get_binding(request: osb.BindingRequest) -> osb.Binding:
    if (request.instance_id, request.binding_id) not in bindings:
        raise osb.BindingDoesNotExist
    return osb.Binding(credentials={"user": request.binding_id})


@broker.unbind
def unbind(request: osb.UnbindRequest) -> None:
    get_binding(request)
    bindings.remove((request.instance_id, request.binding_id))


app = Flask(__name__)
app.register_blueprint(broker.blueprint)
