-- With its functions, the triggers that call them go.
drop schema if exists orion_chat cascade;
