// Asks for the embedding row of each sampled edge, and tells the accumulator what comes.
`default_nettype none
module gather #(
  parameter int D = 64
) (
  input  wire              clk,
  input  wire              rst,
  input  wire  [1:0][31:0] table_base,
  input  wire              in_valid,
  input  wire  [23:0]      in_neighbour,
  input  wire  [14:0]      in_weight,
  input  wire              in_set,
  input  wire              in_last,
  input  wire              in_empty,
  output wire              in_take,
  output wire              request,
  output logic [32:0]      address,
  output wire  [3:0]       beats,
  output logic             set,
  input  wire              grant,
  output wire              out_valid,
  output wire  [17:0]      out,        // set, weight, last, empty
  input  wire              out_take
);
  localparam int ROW = $clog2(D);
  logic waits, last, empty;
  logic [14:0] weight;
  wire [5:0] announced;
  wire open = !announced[5];
  wire pass = waits && empty && open;
  wire [31:0] start = table_base[in_set];
  wire [32-ROW:0] sum = {1'b0, start[31:ROW]} + (33 - ROW)'(in_neighbour);
  assign in_take = in_valid && (!waits || grant || pass);
  assign request = waits && !empty && open;
  assign beats = 4'(D / 8 - 1);

  always_ff @(posedge clk)
    if (rst) waits <= 0;
    else if (in_take) waits <= 1;
    else if (grant || pass) waits <= 0;
  always_ff @(posedge clk)
    if (in_take) begin
      {set, weight, last, empty} <= {in_set, in_weight, in_last, in_empty};
      address <= {sum, {ROW{1'b0}}};
    end
  fifo #(.WIDTH(18), .LOG2(5)) announcements (
    .clk, .rst, .push(grant || pass), .in({set, weight, last, empty}), .pop(out_take), .out,
    .valid(out_valid), .count(announced)
  );
endmodule
`default_nettype wire
