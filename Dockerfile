# One image for every process; docker-compose.yml says which command it runs.
FROM python:3.11-slim AS build
# The CPU build of torch. For NVIDIA cards: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /app
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -r requirements.txt -c constraints.txt
COPY . .
# DATA_DIR is thrown away: static files are all that this step makes.
RUN STATIC_ROOT=/static DATA_DIR=/tmp/data python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q labeler learner

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home plusminus && install -d -o plusminus -g plusminus /data
COPY --from=build /venv /venv
COPY --from=build /static /static
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 DATA_DIR=/data STATIC_ROOT=/static HOST=0.0.0.0 PORT=8000
USER plusminus
VOLUME /data
EXPOSE 8000
CMD ["gunicorn", "labeler.wsgi"]
