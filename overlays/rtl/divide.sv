// Turns a target's sums into an embedding row, a value a cycle: y = sum * 2^up / divisor by long
// division, a bit of the quotient a stage, to half away from zero; the first eight to even, with a bit
// of the scale code below.
`default_nettype none
module divide #(
  parameter int D = 64
) (
  input  wire              clk,
  input  wire              rst,
  input  wire              in_valid,
  input  wire              in_zero,
  input  wire  [7:0]       in_code,
  input  wire  [4:0]       in_up,
  input  wire  [25:0]      in_divisor,
  output wire              in_take,
  output logic [$clog2(D)-1:0] at,       // the value that is read
  input  wire  [29:0]      sum,          // ... a cycle later
  output wire              release_bank,
  input  wire              room,         // for D more bytes
  output logic             out_valid,
  output logic [63:0]      out
);
  localparam int LAST = 13;              // stages
  logic busy;
  logic [LAST:0] valid;
  logic zero;
  logic [7:0] code;
  logic [4:0] up;
  logic [25:0] divisor;
  assign in_take = in_valid && !busy && valid == 0 && room;
  assign release_bank = busy && at == ($clog2(D))'(D - 1);
  always_ff @(posedge clk)
    if (rst) begin
      busy  <= 0;
      at    <= 0;
      valid <= 0;
    end else begin
      valid <= {valid[LAST-1:0], busy};
      if (in_take) busy <= 1;
      else if (release_bank) busy <= 0;
      if (busy) at <= at + 1'b1;
    end
  always_ff @(posedge clk)
    if (in_take) {zero, code, up, divisor} <= {in_zero, in_code, in_up, in_divisor};

  // stage 1: magnitude; 2, 3: shift; 4: what the quotient's eight bits do not hold
  logic [LAST:1] negative;
  logic [28:0] size1;
  logic [33:0] wide2, wide3;
  logic [12:4] saturated;
  logic [25:0] rest[4:12];
  logic [6:0] low[4:12];        // bits still to bring down
  logic [7:0] quotient[4:12];
  always_ff @(posedge clk) begin
    negative <= {negative[LAST-1:1], sum[29]};
    size1 <= sum[29] ? -sum[28:0] : sum[28:0];
    wide2 <= {5'd0, size1} << {up[4:3], 3'd0};
    wide3 <= wide2 << up[2:0];
    saturated <= {saturated[11:4], wide3[33:7] >= {1'b0, divisor}};
    rest[4] <= wide3[32:7];
    low[4] <= wide3[6:0];
    quotient[4] <= 0;
  end
  // stages 5 to 12: the quotient of twice the number, bit by bit
  for (genvar s = 5; s <= 12; s++) begin : division
    wire [26:0] brought = {rest[s-1], low[s-1][6]};
    wire [27:0] less = {1'b0, brought} - {2'b0, divisor};
    always_ff @(posedge clk) begin
      rest[s] <= less[27] ? brought[25:0] : less[25:0];
      low[s] <= {low[s-1][5:0], 1'b0};
      quotient[s] <= {quotient[s-1][6:0], !less[27]};
    end
  end
  // stage 13: round and saturate; 14: even, sign, code
  logic [2:0] lane;
  logic first;   // among a row's first eight
  logic [6:0] size13;
  wire [8:0] rounded = {1'b0, quotient[12]} + 9'd1;
  wire [6:0] four = size13[1] ? size13 + 7'd1 : size13 - 7'd1;
  wire [6:0] even = !(first && size13[0]) ? size13 : size13 == 127 ? 7'd126 : four;
  wire [7:0] signed_value = negative[13] ? -{1'b0, even} : {1'b0, even};
  wire [7:0] value = {signed_value[7:1], signed_value[0] || (first && !zero && code[lane])};
  always_ff @(posedge clk) begin
    size13 <= zero ? 7'd0 : saturated[12] || rounded[8] ? 7'd127 : rounded[7:1];
    out <= valid[13] ? {value, out[63:8]} : out;
    out_valid <= !rst && valid[13] && lane == 7;
    if (in_take) begin
      lane  <= 0;
      first <= 1;
    end else if (valid[13]) begin
      lane <= lane + 1'b1;
      if (lane == 7) first <= 0;
    end
  end
endmodule
`default_nettype wire
