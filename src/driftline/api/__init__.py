"""The HTTP API: FastAPI routers, one per resource. Pydantic models live only here.

    models         POST /models, GET /models, GET|PATCH|DELETE /models/{model_id}
    references     PUT /models/{model_id}/versions/{version}/reference
    predictions    POST /predictions
    drift          GET /models/{model_id}/drift
    summary        GET /models/{model_id}/drift/summary
    distribution   GET /models/{model_id}/features/{feature}/distribution
    health         GET /healthz, /readyz, /metrics

Endpoints are plain functions that run on a pool of threads. Errors are problem documents (RFC 9457).
"""
