"""Forecasts many series at once: models, choice by backtest, intervals, scenarios, outlook."""
